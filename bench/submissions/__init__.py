"""Archives of strangers: packed, checked, judged again; nothing in them is believed that was not computed here."""
