"""Hilum: distributed deep learning for radiology on Apache Spark."""

__version__ = "0.1.0"
