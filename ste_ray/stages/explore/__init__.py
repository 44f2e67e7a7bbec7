"""The explore stage: Ray actors run the episodes of all tools and survive any loss."""
