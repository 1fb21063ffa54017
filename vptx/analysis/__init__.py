"""Looking at a model, never changing it."""
