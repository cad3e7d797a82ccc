"""Property tests of what people hand in: right, or the project's own error."""
