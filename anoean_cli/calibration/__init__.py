"""From embeddings of normals to a score, a p-value and a threshold: numbers in, numbers out."""
