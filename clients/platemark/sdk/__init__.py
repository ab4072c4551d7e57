"""Access to gateways, chains and IPFS for clients."""
