"""Floor 1: masks, tickets, books, their file, carrying and guarding. Needs torch and safetensors only."""
