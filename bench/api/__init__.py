"""The Python API of `import bench`: keyword arguments in, runs with their verdicts and images out."""
