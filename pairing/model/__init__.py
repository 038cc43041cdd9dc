"""A puzzle and the residual network that its pieces make."""
