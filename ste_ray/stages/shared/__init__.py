"""What stages share: model sessions, endpoints, limit server, spending, tools."""
