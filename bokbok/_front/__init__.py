"""What both front ends decide alike. There are no sockets, threads, tasks or clocks in here.

A front end tells these objects what has happened, and they say what to do: which request may start its handler
(`Admission`), when a connection's open and close handlers run and when the connection closes (`Lifecycle`), and which
connections a server has and when it has stopped (`Roster`). A front end with threads holds a lock around each call.
"""
