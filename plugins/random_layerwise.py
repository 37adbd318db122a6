"""random layerwise control."""
