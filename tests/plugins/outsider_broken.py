raise RuntimeError("this plug-in does not import")
