"""What every tensor's and layer's numbers look like, whether a plan fits, and what it costs."""
