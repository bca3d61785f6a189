"""Renderings of the board model: markdown, CSV and pictures. Nothing here computes a number."""
