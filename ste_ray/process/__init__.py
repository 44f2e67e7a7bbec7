"""What concerns a process as a whole: signals, secrets, scratch folders, output."""
