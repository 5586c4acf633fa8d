"""The round: who is asked, who answered, when it closes, what is committed."""
