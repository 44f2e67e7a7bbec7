"""The pure core: the algorithm of simulated trial and error, without I/O, event loop, Ray or torch."""
