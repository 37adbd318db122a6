"""How fast a ticket's network is: engines that compute it, timed in turns beside the dense network."""
