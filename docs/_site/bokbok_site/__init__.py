"""What the documentation site needs beside Sphinx, MyST and the theme: one extension for each module."""
