"""timm models, fitted to their images and measured: stems, initial weights, layer roles, FLOPs."""
