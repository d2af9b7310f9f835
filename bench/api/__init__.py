"""What `import bench` offers: keyword arguments in, runs with their verdicts and images out."""
