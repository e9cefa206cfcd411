"""What the build of the site needs beside its settings."""
