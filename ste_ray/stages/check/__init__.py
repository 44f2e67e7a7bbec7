"""A deployed model beside what the run recorded of it; no stage: it writes nothing into the run."""
