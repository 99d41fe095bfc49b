"""Tables and images from files and streams, preprocessing, splits."""
