# MicroPython's port calls its project "micropython", and that is what the application descriptor would say. ESP-IDF
# includes this file when that is set and before the descriptor (component esp_app_format) is made from it. The names of
# the files in the build folder do not depend on it.
idf_build_set_property(PROJECT_NAME "Arus")
