"""What happens: one function per story; read, ask core, write, in one short transaction."""
