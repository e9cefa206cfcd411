"""Floor 1: masks, tickets, books, and their file. Needs torch and safetensors only."""
