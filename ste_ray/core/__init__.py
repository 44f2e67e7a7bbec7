"""The pure core: simulated trial and error without I/O, event loop, Ray or torch."""
