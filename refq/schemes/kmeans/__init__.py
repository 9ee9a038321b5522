"""K-means: the global optimum on a one-dimensional histogram, and Lloyd's algorithm anywhere."""

from refq.schemes.kmeans.intervals import Partition, exact
from refq.schemes.kmeans.vectors import Clustering, Course, lloyd, lloyd_histogram, plus_plus

__all__ = ["Clustering", "Course", "Partition", "exact", "lloyd", "lloyd_histogram", "plus_plus"]
