"""What differs between two versions of a set of tools, by what it means for a trained model."""
