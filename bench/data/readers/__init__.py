"""Finding and reading images, independent of the data set: folders, tar archives, Parquet, WebDataset."""
