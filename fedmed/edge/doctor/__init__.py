"""What staff run on a device before it joins and whenever something is odd: it looks, judges, and changes nothing."""
