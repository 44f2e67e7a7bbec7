"""What concerns a process as a whole: signals, groups, shields, secrets, folders, output."""
