"""What a federation needs before anybody buys it: formulas, each with its source, and the plan of a scenario."""
