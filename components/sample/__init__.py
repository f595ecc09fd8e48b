"""The optional step in which the base model solves training problems; what is right becomes data of SFT."""
