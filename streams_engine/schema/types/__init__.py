"""The types of each dialect, their Arrow forms, and conversions of values."""
