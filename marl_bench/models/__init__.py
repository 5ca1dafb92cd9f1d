"""Loading of models and tokenizers, response log-probs, value head, samplers."""
