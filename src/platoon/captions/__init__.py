"""Video in, words out: segments of recordings and cameras, captioned by a vision-language model on a server."""
