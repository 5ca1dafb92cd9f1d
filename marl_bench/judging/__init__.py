"""A judge of pairs behind any OpenAI-compatible server: what it is asked, how its answers are read, stored and paid. No torch."""
