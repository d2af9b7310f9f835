"""How images are found and read, whatever the data set: folders, tar archives, Parquet, WebDataset."""
