"""Plots of a comparison, one file a kind; `gallery` draws them all."""
