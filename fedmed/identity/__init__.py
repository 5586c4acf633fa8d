"""Who a member of the federation is: keys made on site, one signed request, certificates, fingerprints to pin."""
