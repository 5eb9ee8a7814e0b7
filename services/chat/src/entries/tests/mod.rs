mod growth;
