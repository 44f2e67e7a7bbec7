"""Which branches of tools' schemas calls have visited, and where the next episodes go."""
