"""What a solution is worth: noise, solutions as good, the activation."""
