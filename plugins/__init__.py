"""The bundled plugins: one method, model family, data set or control a file."""
