"""A network over a stream of images: accuracy, noise, saturation, energies of filters."""
