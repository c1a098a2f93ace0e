"""What runs a method: objective, images, net, schedule. Public for whoever writes one."""
