"""Ray clusters: joined, started on this machine, drained; and their nodes."""
