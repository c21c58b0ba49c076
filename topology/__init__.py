"""What a cluster is: networkx graphs and the arrays compiled from them."""
