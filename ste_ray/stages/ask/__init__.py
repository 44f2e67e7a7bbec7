"""One's own requests, answered by a model of a run, whose calls are really made; without Ray."""
