"""How tensors run: models, graph surgery, runtimes and the batcher that owns them."""
