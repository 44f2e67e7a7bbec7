"""The prepare stage on Ray Data: from trials to training data."""
